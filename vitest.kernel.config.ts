import { defineConfig } from 'vitest/config';

/** The live oracle: needs root, network namespaces and iptables-legacy; a process per file, two at a time. */
export default defineConfig({
  test: {
    include: ['test/kernel/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 0,
    hookTimeout: 0,
    teardownTimeout: 30_000,
    disableConsoleIntercept: true,
  },
});
