/**
 * XXH64 of bytes of any length, by `xxhash-wasm`: for what is hashed rarely and must not change unseen (snapshots).
 * Cold. The module is instantiated at the first call. Where WASM is forbidden (a Content-Security-Policy without
 * `wasm-unsafe-eval`, an interpreter without it) there is no XXH64, and the answer says so.
 */
import xxhash, { type XXHashAPI } from 'xxhash-wasm';

let loading: Promise<XXHashAPI | undefined> | undefined;

/** XXH64 with seed 0 as an unsigned 64-bit integer; undefined where WASM cannot run. */
export async function xxh64(bytes: Uint8Array): Promise<bigint | undefined> {
  loading ??= Promise.resolve()
    .then(() => xxhash())
    .catch(() => undefined);
  return (await loading)?.h64Raw(bytes);
}
