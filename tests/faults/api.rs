//! The API itself: storms, lower limits, refused keys, missing permissions, unknown codes and statuses.
