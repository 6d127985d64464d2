//! What an archive may ask for. The command line can change each one.

/// Defaults fit the largest images people have, not the largest one could make.
pub const Limits = struct {
    /// Length of the uncompressed stream, in bytes.
    bytes: u64 = 64 << 30,
    entries: u64 = 4_000_000,
    /// Components of a name.
    depth: u64 = 256,
    /// Bytes of one component; what Linux's file systems take.
    name: u64 = 255,
    /// Bytes of a whole name.
    path: u64 = 4095,
    /// Bytes of one ACI manifest.
    manifest: u64 = 4 << 20,
};
