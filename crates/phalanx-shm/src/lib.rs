//! Shared-memory segments, rings, waiting and copies for Phalanx
