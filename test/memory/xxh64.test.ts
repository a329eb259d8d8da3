import { afterEach, describe, expect, test, vi } from 'vitest';
import { xxh64 } from '../../lib/memory/xxh64.js';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

describe('XXH64', () => {
  test('of the empty input has the published value', async () => {
    expect(await xxh64(new Uint8Array(0))).toBe(0xef46db3751d8e999n);
  });

  test('is undefined where WASM is missing or forbidden, and stays so', async () => {
    for (const WebAssembly of [undefined, { instantiate: () => Promise.reject(new Error('unsafe-eval')) }]) {
      vi.stubGlobal('WebAssembly', WebAssembly);
      vi.resetModules();
      const bare = await import('../../lib/memory/xxh64.js');
      expect(await bare.xxh64(Uint8Array.of(1))).toBeUndefined();
      expect(await bare.xxh64(Uint8Array.of(1))).toBeUndefined();
    }
  });
});
