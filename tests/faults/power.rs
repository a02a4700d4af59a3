//! The power fails: whatever had reached the disk by then, no commit went out that the database doesn't know of.
