//! The broker over a real socket.
