//! Other people's processes and the database file: locked, moved, replaced, altered, corrupt, restored.
