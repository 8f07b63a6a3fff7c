// Elements, and bringing what is on the page up to what it should be. Text is always text: nothing of what the
// API says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "path", "line", "text", "rect", "circle", "title", "polygon"]);

/** An element. `null` and `false` among the children are nobody. */
export function h(tag, attributes = {}, ...children) {
  const node = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter((one) => one !== null && one !== false && one !== undefined).map(
    (one) => (one instanceof Node ? one : document.createTextNode(String(one)))));
  return node;
}

/** Make `host` hold what `wanted` holds, touching only what differs: focus and selection stay where they are. */
export function patch(host, ...wanted) {
  morphChildren(host, wanted.flat(3).filter((one) => one instanceof Node));
}

function morphChildren(host, wanted) {
  const present = [...host.childNodes];
  wanted.forEach((node, place) => {
    const old = present[place];
    if (!old) host.append(node);
    else if (!alike(old, node)) host.replaceChild(node, old);
    else morph(old, node);
  });
  present.slice(wanted.length).forEach((node) => node.remove());
}

function alike(old, node) {
  return old.nodeType === node.nodeType && old.nodeName === node.nodeName
    && (old.nodeType !== 1 || old.getAttribute("data-key") === node.getAttribute("data-key"));
}

function morph(old, node) {
  if (old.nodeType === 3) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  if (old.dataset?.own) return; // it looks after its own content
  for (const { name } of [...old.attributes]) if (!node.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, [...node.childNodes]);
}
