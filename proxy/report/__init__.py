"""`dualpath report`: what was planned for a rollout and what happened, as a document for people who were not
there.

Everything is made from what the admin API tells: the plan, the audit, the minutes. Layer 4.
"""
