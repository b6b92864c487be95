//! What the fuzz targets share. A target takes any bytes and must neither panic nor allocate
//! without bound; what else it claims stands at its beginning.
//!
//! ```text
//! input      bytes of the fuzzer, read as a script
//! dialogue   a session between two pipes, in paused time
//! words      packets that are worth saying
//! reference  where a reply ends, told from the whole of it
//! memory     the allocator with a limit
//! ```

pub mod dialogue;
pub mod input;
pub mod memory;
pub mod reference;
pub mod words;
