//! Who may log in.
