//! What bounds the content of one event.

/// Limits on one value; at each, the value is refused with a [`Violation`](crate::Violation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of an encoded value. Default 8 MiB; Kafka's own default for a record is 1 MiB.
    pub content_bytes_max: usize,
    /// Most bytes of its JSON form. Default 64 MiB: names make JSON larger than Avro.
    pub json_bytes_max: usize,
    /// Deepest nesting of records, arrays, maps and unions in a value, 1 to 100. Default 64.
    pub depth_max: usize,
    /// Most array items or map values that take no bytes (`null`, empty records) in a value: a few bytes can claim any
    /// number of them. Default 65,536.
    pub empty_items_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content_bytes_max: 8 << 20,
            json_bytes_max: 64 << 20,
            depth_max: 64,
            empty_items_max: 1 << 16,
        }
    }
}
