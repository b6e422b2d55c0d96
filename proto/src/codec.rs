//! Encodes and decodes messages as prost does, and counts the entries of their lists before: an
//! empty entry takes two bytes on the wire and dozens in memory.

use std::any::TypeId;
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::{admin, desk, exchange};

/// Entries that a list in a request may have before it is decoded; a batch has 64 at most, a search
/// 16.
const ENTRIES_MAX: usize = 1024;

/// A list in a request: the request, and the numbers of the fields from the outside in.
type List = (fn() -> TypeId, &'static [u32]);

/// Every list in a request.
const LISTS: [List; 4] = [
    (TypeId::of::<exchange::FromSender>, &[1, 3]),
    (TypeId::of::<exchange::FromSender>, &[2, 1]),
    (TypeId::of::<desk::SearchRequest>, &[5]),
    (TypeId::of::<admin::AddUserRequest>, &[2]),
];

/// What the services are made with.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Counting<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        let decoder = ProstCodec::<T, U>::default().decoder();
        let decoded = TypeId::of::<U>();
        let lists = LISTS.iter().filter(|(message, _)| message() == decoded);
        Counting { decoder, lists: lists.map(|(_, path)| *path).collect() }
    }
}

/// Decodes a message whose lists are short enough.
#[derive(Debug)]
pub struct Counting<U> {
    decoder: ProstDecoder<U>,
    lists: Vec<&'static [u32]>,
}

impl<U: Message + Default> Decoder for Counting<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = bytes::Buf::chunk(bytes);
        if self.lists.iter().any(|list| entries(message, list) > ENTRIES_MAX) {
            let message = format!("a list in the message has more than {ENTRIES_MAX} entries");
            return Err(crate::refusal(Code::InvalidArgument, "list_too_long", &message));
        }
        self.decoder.decode(bytes)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.decoder.buffer_settings()
    }
}

/// Entries of the list at `path`, as far as the message can be read; what can't is refused by
/// prost.
fn entries(mut message: &[u8], path: &[u32]) -> usize {
    let Some((field, rest)) = path.split_first() else { return 1 };
    let mut count = 0;
    while let Some((number, value)) = next_field(&mut message) {
        if number == *field {
            count += value.map_or(0, |value| entries(value, rest));
        }
    }
    count
}

/// The number of the next field, and its bytes where it has a length.
fn next_field<'a>(message: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let key = prost::decode_length_delimiter(&mut *message).ok()?;
    let number = u32::try_from(key >> 3).ok()?;
    let (length, has_bytes) = match key & 7 {
        0 => {
            prost::decode_length_delimiter(&mut *message).ok()?;
            (0, false)
        }
        1 => (8, false),
        2 => (prost::decode_length_delimiter(&mut *message).ok()?, true),
        5 => (4, false),
        _ => return None,
    };
    let (value, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some((number, has_bytes.then_some(value)))
}

#[cfg(test)]
mod tests {
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    /// The paths of all lists below a message.
    fn lists_below(all: &[(String, DescriptorProto)], name: &str, path: &[u32]) -> Vec<Vec<u32>> {
        let (_, message) = all.iter().find(|(known, _)| known == name).expect("a message");
        let mut found = Vec::new();
        for field in &message.field {
            let path = [path, &[field.number() as u32]].concat();
            if field.label() == Label::Repeated {
                found.push(path.clone());
            }
            if field.r#type() == Type::Message {
                found.extend(lists_below(all, field.type_name(), &path));
            }
        }
        found
    }

    #[test]
    fn every_list_in_a_request_is_counted() {
        let set = FileDescriptorSet::decode(crate::DESCRIPTORS).expect("descriptors");
        let mut all = Vec::new();
        for file in &set.file {
            for message in &file.message_type {
                all.push((format!(".{}.{}", file.package(), message.name()), message.clone()));
            }
        }
        let methods = set.file.iter().flat_map(|file| &file.service).flat_map(|s| &s.method);
        let mut declared: Vec<(String, Vec<u32>)> = methods
            .flat_map(|method| {
                let name = method.input_type();
                lists_below(&all, name, &[]).into_iter().map(|path| (name.to_owned(), path))
            })
            .collect();
        declared.sort();
        declared.dedup();
        let counted = [
            (".entente.admin.v1.AddUserRequest".to_owned(), LISTS[3].1.to_vec()),
            (".entente.desk.v1.SearchRequest".to_owned(), LISTS[2].1.to_vec()),
            (".entente.exchange.v1.FromSender".to_owned(), LISTS[0].1.to_vec()),
            (".entente.exchange.v1.FromSender".to_owned(), LISTS[1].1.to_vec()),
        ];
        assert_eq!(declared, counted);
    }

    #[test]
    fn entries_are_counted_as_prost_decodes_them() {
        use exchange::from_sender::Message::Batch;
        for number in [0, 1, 64, 5000] {
            let items = vec![exchange::Item { seq: u64::MAX, ..Default::default() }; number];
            let batch = exchange::Batch { items, head: "head".to_owned(), acknowledged: 7 };
            let message = exchange::FromSender { message: Some(Batch(batch)) }.encode_to_vec();
            assert_eq!(entries(&message, &[2, 1]), number);
            // A message in two parts is one: its lists are joined.
            assert_eq!(entries(&[&message[..], &message].concat(), &[2, 1]), 2 * number);
        }
        for malformed in [&[0x12][..], &[0x12, 9, 0], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff], &[7]] {
            assert_eq!(entries(malformed, &[2, 1]), 0);
        }
    }
}
