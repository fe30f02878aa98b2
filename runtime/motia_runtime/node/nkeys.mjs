// nkeys of NATS: Ed25519 keys as text. A seed is base32 of two bytes of prefix, 32 of seed, two of checksum.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex"); // what stands before a raw Ed25519 seed in DER

/** JWT and seed of a .creds file. */
export function readCreds(path) {
  const blocks = [...readFileSync(path, "utf8").matchAll(/-{3,}BEGIN [^-]+-{3,}\s+([A-Za-z0-9_\-.=]+)\s+-{3,}END/g)].map((m) => m[1]);
  if (blocks.length < 2) throw new Error("NATS_CREDS: the file holds no JWT and seed");
  return { jwt: blocks[0], seed: blocks[1] };
}

export function readSeed(path) {
  const found = readFileSync(path, "utf8").match(/\bS[A-Z2-7]{57}\b/);
  if (!found) throw new Error("NATS_NKEY: the file holds no seed of an nkey");
  return found[0];
}

/** What proves that we have the seed: the signature of the server's nonce, and the public key. */
export function signNonce(seed, nonce) {
  const raw = fromBase32(seed);
  const prefix = ((raw[0] & 7) << 5) | (raw[1] >> 3);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, raw.subarray(2, 34)]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  const named = Buffer.concat([Buffer.from([prefix]), publicKey]);
  const check = Buffer.alloc(2);
  check.writeUInt16LE(crc16(named));
  return {
    signature: sign(null, Buffer.from(nonce), key).toString("base64url"),
    nkey: toBase32(Buffer.concat([named, check])),
  };
}

function fromBase32(text) {
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of text) {
    value = ((value << 5) | ALPHABET.indexOf(letter)) & 0xffff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

function toBase32(data) {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of data) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(value >> bits) & 31];
    }
  }
  return bits ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}

/** CRC-16/XMODEM. */
function crc16(data) {
  let crc = 0;
  for (const byte of data) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}
