//! The cost of a frame on its way in and out: plain and AES, 256 B and 4 KiB of
//! data, beside the obvious way of doing the same (prost's messages, the key
//! schedule expanded for each frame).

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]
#![allow(clippy::wildcard_imports, reason = "the groups are modules for their name's sake")]

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use bridgehead::proto::session::{PushBody, RequestBody, ResponseBody};
use bridgehead::protocol::Code;
use bridgehead::protocol::seed::{Cipher, PrivateKey, PublicKey, codec, rsa};
use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use prost::Message;

#[global_allocator]
static ALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc; // as the gateway has it

/// Bytes of a request's or an answer's data.
const SIZES: [usize; 2] = [256, 4096];

const REQ_ID: &str = "01J9ZQ4T8Y6F3N5K7W2XRC0DVB";
const METHOD: &str = "/v1/msg/sendMsgList";

// The key and IV that `cipher()` derives.
const KEY: &[u8; 32] = b"2ad02d960321415077940ed8a0fea17c";
const IV: &[u8; 16] = b"54770f8a65ee51da";

fn main() {
    divan::main();
}

fn cipher() -> Cipher {
    Cipher::derive(b"bridgehead-key-seed", b"bridgehead-iv-seed")
}

fn request(size: usize) -> Vec<u8> {
    let data = Bytes::from(vec![b'x'; size]);
    RequestBody { req_id: REQ_ID.into(), method: METHOD.into(), data }.encode_to_vec()
}

/// The same with prost: a message in a message, each into its own buffer.
fn answer_with_prost(data: &Bytes) -> Vec<u8> {
    let body =
        ResponseBody { req_id: REQ_ID.into(), method: METHOD.into(), code: 0, data: data.clone() };
    PushBody { event: 2, data: body.encode_to_vec().into() }.encode_to_vec()
}

#[divan::bench_group]
mod open {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn plain(bencher: Bencher, size: usize) {
        let frame = request(size);
        bencher
            .counter(BytesCount::new(frame.len()))
            .with_inputs(|| Bytes::from(frame.clone()))
            .bench_refs(|frame| codec::open(black_box(frame)));
    }

    #[divan::bench(args = SIZES)]
    fn plain_with_prost(bencher: Bencher, size: usize) {
        let frame = request(size);
        bencher
            .counter(BytesCount::new(frame.len()))
            .with_inputs(|| Bytes::from(frame.clone()))
            .bench_refs(|frame| RequestBody::decode(black_box(frame)));
    }

    #[divan::bench(args = SIZES)]
    fn aes(bencher: Bencher, size: usize) {
        let cipher = cipher();
        let frame = cipher.seal_copy(&request(size)).to_vec();
        bencher
            .counter(BytesCount::new(frame.len()))
            .with_inputs(|| Bytes::from(frame.clone()))
            .bench_values(|frame| codec::open(&cipher.open(black_box(frame)).unwrap()));
    }

    #[divan::bench(args = SIZES)]
    fn aes_of_a_shared_frame(bencher: Bencher, size: usize) {
        let cipher = cipher();
        let frame = cipher.seal_copy(&request(size));
        bencher
            .counter(BytesCount::new(frame.len()))
            .with_inputs(|| frame.clone())
            .bench_values(|frame| codec::open(&cipher.open(black_box(frame)).unwrap()));
    }

    #[divan::bench(args = SIZES)]
    fn aes_with_prost_and_a_new_key_schedule(bencher: Bencher, size: usize) {
        let frame = cipher().seal_copy(&request(size));
        bencher.counter(BytesCount::new(frame.len())).with_inputs(|| frame.clone()).bench_values(
            |frame| {
                let decryptor = cbc::Decryptor::<Aes256>::new(KEY.into(), IV.into());
                let plain = decryptor.decrypt_padded_vec::<Pkcs7>(black_box(&frame)).unwrap();
                RequestBody::decode(Bytes::from(plain))
            },
        );
    }
}

#[divan::bench_group]
mod seal {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn plain(bencher: Bencher, size: usize) {
        let data = Bytes::from(vec![b'x'; size]);
        bencher
            .counter(BytesCount::new(size))
            .bench(|| codec::answer(REQ_ID, METHOD, Code::SUCCESS, black_box(&data)).freeze());
    }

    #[divan::bench(args = SIZES)]
    fn plain_with_prost(bencher: Bencher, size: usize) {
        let data = Bytes::from(vec![b'x'; size]);
        bencher
            .counter(BytesCount::new(size))
            .bench(|| Bytes::from(answer_with_prost(black_box(&data))));
    }

    #[divan::bench(args = SIZES)]
    fn aes(bencher: Bencher, size: usize) {
        let cipher = cipher();
        let data = Bytes::from(vec![b'x'; size]);
        bencher
            .counter(BytesCount::new(size))
            .bench(|| cipher.seal(codec::answer(REQ_ID, METHOD, Code::SUCCESS, black_box(&data))));
    }

    #[divan::bench(args = SIZES)]
    fn aes_with_prost_and_a_new_key_schedule(bencher: Bencher, size: usize) {
        let data = Bytes::from(vec![b'x'; size]);
        bencher.counter(BytesCount::new(size)).bench(|| {
            let encryptor = cbc::Encryptor::<Aes256>::new(KEY.into(), IV.into());
            let plain = answer_with_prost(black_box(&data));
            Bytes::from(encryptor.encrypt_padded_vec::<Pkcs7>(&plain))
        });
    }
}

/// The cost of turning encryption on, once a session.
#[divan::bench_group]
mod handshake {
    use super::*;

    #[divan::bench]
    fn derive() -> Cipher {
        Cipher::derive(black_box(b"bridgehead-key-seed"), black_box(b"bridgehead-iv-seed"))
    }

    #[divan::bench(args = [2048, 4096])]
    fn unwrap_secret(bencher: Bencher, bits: usize) {
        let files = rsa::generate_key(bits).unwrap();
        let key = PrivateKey::from_pem(&*files.private_pem).unwrap();
        let wrapped = PublicKey::from_pem(&files.public_pem)
            .unwrap()
            .wrap_secret(b"bridgehead-key-seed")
            .unwrap();
        bencher.bench(|| key.unwrap_secret(black_box(&wrapped)));
    }

    /// Has to take as long as a good one.
    #[divan::bench(args = [2048, 4096])]
    fn unwrap_secret_of_a_bad_ciphertext(bencher: Bencher, bits: usize) {
        let files = rsa::generate_key(bits).unwrap();
        let key = PrivateKey::from_pem(&*files.private_pem).unwrap();
        let bad = vec![0x5a; key.modulus_len()];
        bencher.bench(|| key.unwrap_secret(black_box(&bad)));
    }
}
