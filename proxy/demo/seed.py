"""What the sample service holds when it starts: sixty restaurants with reviews, the same every time."""

from __future__ import annotations

from proxy.demo.inputs import RestaurantDraft, ReviewDraft
from proxy.demo.restaurants import RestaurantStore

CITIES = ("Berlin", "Lisbon", "Lyon", "Oslo", "Turin", "Vienna")

_NAMES = {
    "ethiopian": ("Addis Table", "Blue Nile", "Injera House", "Lalibela", "Meskel", "Queen of Sheba"),
    "french": ("Au Coin", "Chez Margot", "La Grenouille", "Le Petit Four", "Maison Verte", "Sept Chaises"),
    "greek": ("Aegean Blue", "Dionysos", "Kyma", "Mezedes", "Olive and Salt", "Taverna Niko"),
    "indian": ("Bombay Lane", "Cardamom", "Masala Yard", "Nilgiri", "Spice Route", "Tandoor Street"),
    "italian": ("Da Enzo", "Forno Nove", "La Lanterna", "Osteria Bassa", "Pasta e Basta", "Trattoria Luna"),
    "japanese": ("Hana", "Kaiseki Nord", "Little Kyoto", "Nori", "Ramen Eleven", "Sushi Ko"),
    "lebanese": ("Beirut Nights", "Cedar", "Fairuz", "Hummus Row", "Manousheh", "Zaatar"),
    "mexican": ("Agave", "Casa Azul", "El Comal", "La Milpa", "Mole Negro", "Taqueria Sol"),
    "thai": ("Bangkok Corner", "Chili and Lime", "Lemongrass", "Mae Nam", "Pad and Pepper", "Siam Garden"),
    "vegan": ("Bean There", "Field Day", "Green Fork", "Root and Leaf", "Sprout", "The Good Turnip"),
}
_OPINIONS = (
    ("Alma", "Came for lunch, stayed for dinner."),
    ("Bruno", "Good food, slow service."),
    ("Chloe", "The best table is by the window."),
    ("Deniz", "Would go again."),
    ("Emil", "Book ahead on Fridays."),
)


def seeded_store() -> RestaurantStore:
    """A new store with ids 1..60 and two to five reviews for each."""
    store = RestaurantStore()
    for row, (cuisine, names) in enumerate(_NAMES.items()):
        for column, name in enumerate(names):
            city = CITIES[(row + column) % len(CITIES)]
            draft = RestaurantDraft(name=name, cuisine=cuisine, city=city, price=1 + (row + 2 * column) % 4)
            _review(store, store.create(draft).id)
    return store


def _review(store: RestaurantStore, restaurant_id: int) -> None:
    for turn in range(2 + restaurant_id % 4):
        author, text = _OPINIONS[(restaurant_id + turn) % len(_OPINIONS)]
        store.add_review(
            restaurant_id, ReviewDraft(author=author, stars=5 - (restaurant_id * turn) % 4, text=text)
        )
