//! Claims about the window.
