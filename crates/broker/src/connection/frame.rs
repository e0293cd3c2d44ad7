//! A framed request in pieces: what is large is not copied into it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use super::wire::CORRELATION_AT;

/// A request with its length before it, made from front to back.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// The first piece: length, header and what follows up to the first large piece.
    head: BytesMut,
    rest: VecDeque<Bytes>,
    /// What is being written behind them.
    tail: BytesMut,
}

impl Frame {
    /// A frame that begins with `head`, whose length is not known yet.
    pub(crate) fn new(head: BytesMut) -> Self {
        Self {
            head,
            ..Self::default()
        }
    }

    /// Where small things are written, behind everything else.
    pub(crate) fn small(&mut self) -> &mut BytesMut {
        if self.rest.is_empty() {
            &mut self.head
        } else {
            &mut self.tail
        }
    }

    /// Adds `bytes` as they lie.
    pub(crate) fn large(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            self.rest.push_back(self.tail.split().freeze());
        }
        self.rest.push_back(bytes);
    }

    /// Writes the length into the first four bytes; nothing is added afterwards.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        if !self.tail.is_empty() {
            self.rest.push_back(self.tail.split().freeze());
        }
        let length =
            i32::try_from(self.remaining() - 4).map_err(|_| "a request larger than 2 GiB".to_owned())?;
        if let Some(mut prefix) = self.head.get_mut(..4) {
            prefix.put_i32(length);
        }
        Ok(())
    }

    pub(super) fn set_correlation(&mut self, correlation: i32) {
        if let Some(mut place) = self.head.get_mut(CORRELATION_AT..CORRELATION_AT + 4) {
            place.put_i32(correlation);
        }
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.head.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    fn chunk(&self) -> &[u8] {
        if self.head.is_empty() {
            self.rest.front().map_or(&[], |piece| piece)
        } else {
            &self.head
        }
    }

    fn chunks_vectored<'frame>(&'frame self, slices: &mut [IoSlice<'frame>]) -> usize {
        let pieces = std::iter::once(&self.head[..]).chain(self.rest.iter().map(|piece| &piece[..]));
        let filled = slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty()));
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        let mut left = count - of_head;
        while let Some(piece) = self.rest.front_mut() {
            if piece.len() > left {
                return piece.advance(left);
            }
            left -= piece.len();
            self.rest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let mut frame = Frame::new(BytesMut::from([0; 12].as_slice()));
        frame.small().put_slice(b"head");
        frame.large(Bytes::from_static(b"first"));
        frame.small().put_slice(b"between");
        frame.large(Bytes::from_static(b"second"));
        frame.small().put_slice(b"end");
        frame.close().unwrap();
        frame.set_correlation(0x0102_0304);
        frame
    }

    #[test]
    fn pieces_are_one_frame_however_they_are_taken() {
        let whole = b"\0\0\0\x21\0\0\0\0\x01\x02\x03\x04headfirstbetweensecondend";
        assert_eq!(frame().copy_to_bytes(37).as_ref(), whole);
        for step in 1..=whole.len() {
            let (mut frame, mut seen) = (frame(), Vec::new());
            while frame.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = frame.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                assert!(all.starts_with(frame.chunk()) && filled > 0);
                let taken = step.min(all.len());
                seen.extend_from_slice(&all[..taken]);
                frame.advance(taken);
            }
            assert_eq!(seen, whole, "{step} at a time");
        }
    }
}
