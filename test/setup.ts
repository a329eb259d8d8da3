/**
 * Property tests draw the same cases in every run; CONNTIDE_TEST_SEED (a number) draws others. A failure prints its seed.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.CONNTIDE_TEST_SEED ?? 20261120) });
