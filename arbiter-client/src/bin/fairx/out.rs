//! What the program says. A reader that closes the pipe must not end an exchange, so writing never fails.

/// Prints a line; a closed or full output is ignored.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

pub(crate) use say;
