//! The phalanx command: starting, watching, ending and explaining jobs
