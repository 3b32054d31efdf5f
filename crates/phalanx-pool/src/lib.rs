//! Worker pools without Python: who has which task, and what happens when a worker ends.
