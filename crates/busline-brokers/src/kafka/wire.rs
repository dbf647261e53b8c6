//! As much of Kafka's protocol as tells whether a broker serves: ApiVersions and Metadata.
//!
//! Source: the protocol guide of Kafka, request header version 1, ApiVersions version 0, Metadata version 4.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
const API_VERSIONS: u16 = 18;
const METADATA: u16 = 3;
const CLIENT: &[u8] = b"busline-brokers";

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// The numbers of the brokers that the broker at this port knows as alive.
pub(super) fn brokers(port: u16) -> io::Result<Vec<i32>> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let versions = call(&mut stream, API_VERSIONS, 0, &[])?;
    let mut versions = Fields(&versions);
    match versions.int16()? {
        0 => {}
        code => return Err(invalid(format!("ApiVersions answers error {code}"))),
    }
    // No topic, and none is created.
    let metadata = call(&mut stream, METADATA, 4, &[0, 0, 0, 0, 0])?;
    alive(&metadata)
}

fn alive(metadata: &[u8]) -> io::Result<Vec<i32>> {
    let mut fields = Fields(metadata);
    let _throttled_for = fields.int32()?;
    let count = fields.int32()?;
    let one = |_| {
        let number = fields.int32()?;
        let _host = fields.text()?;
        let _port = fields.int32()?;
        let _rack = fields.text()?;
        Ok(number)
    };
    (0..count).map(one).collect()
}

/// Sends a request and reads its answer, without size and correlation number.
fn call(stream: &mut TcpStream, api: u16, version: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_u32.to_be_bytes());
    request.extend(length(CLIENT)?.to_be_bytes());
    request.extend(CLIENT);
    request.extend(body);
    let size = u32::try_from(request.len()).map_err(|error| invalid(error.to_string()))?;
    stream.write_all(&size.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if !(4..=ANSWER_MAX).contains(&size) {
        return Err(invalid(format!("an answer of {size} bytes")));
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

fn length(text: &[u8]) -> io::Result<u16> {
    u16::try_from(text.len()).map_err(|error| invalid(error.to_string()))
}

fn invalid(says: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, says)
}

/// What is left of an answer.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(|| invalid("the answer is too short".into()))?;
        self.0 = rest;
        Ok(*first)
    }

    fn int16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn int32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// A text; a negative length means none.
    fn text(&mut self) -> io::Result<&[u8]> {
        let size = usize::try_from(self.int16()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(size).ok_or_else(|| invalid("the answer is too short".into()))?;
        self.0 = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_of_an_answer_are_read() {
        let mut answer = vec![0, 0, 0, 0, 0, 0, 0, 2];
        for number in [1_u8, 3] {
            answer.extend([0, 0, 0, number, 0, 2]);
            answer.extend(b"ab");
            answer.extend([0, 0, 0x23, 0x84, 0xff, 0xff]);
        }
        assert_eq!(alive(&answer).expect("it is whole"), [1, 3]);
        assert!(alive(&answer[..answer.len() - 1]).is_err());
    }
}
