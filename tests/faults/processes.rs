//! The process among others: a second daemon, signals, descriptors, memory.
