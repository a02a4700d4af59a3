//! The disk is full, read-only or broken: sending stops, results are kept in hand and written later.
