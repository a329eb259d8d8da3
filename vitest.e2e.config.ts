import { defineConfig } from 'vitest/config';

/** Real clients: needs root, network namespaces and Debian packages; a process per file, one at a time. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    disableConsoleIntercept: true,
  },
});
