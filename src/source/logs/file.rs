//! Follows a file that grows, across renaming and cutting, and standard input.
//!
//! A line counts when it is whole. It never writes, and never goes on before what it read is counted.
