/**
 * A copy of the package as its users get it, as plain JavaScript: for tests that run it in processes of their own,
 * whatever state `dist/` is in. Types are stripped, not checked; that is what `npm run types` is for.
 */
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The project's folder, with a slash at the end. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

export class PackageCopy {
  /** Its folder, inside the project, so that packages are found. */
  readonly folder: string;

  /** `name` tells copies of one process apart. */
  constructor(name: string) {
    this.folder = join(ROOT, '.build', `${name}-${process.pid}`);
  }

  /** Writes `dist/`, the package's description and what else belongs to it. */
  async make(): Promise<void> {
    await this.transpile('lib', 'dist');
    await cp(join(ROOT, 'package.json'), join(this.folder, 'package.json'));
    await symlink(join(ROOT, 'examples'), join(this.folder, 'examples'));
  }

  /** Strips the types of the TypeScript in a folder of the project. */
  async transpile(folder: string, into: string): Promise<void> {
    for (const name of await readdir(join(ROOT, folder), { recursive: true })) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const text = await readFile(join(ROOT, folder, name), 'utf8');
      const { outputText } = ts.transpileModule(text, {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ES2022,
          verbatimModuleSyntax: true,
        },
      });
      const file = join(this.folder, into, name.replace(/\.ts$/, '.js'));
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, outputText);
    }
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
