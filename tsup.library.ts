import { defineConfig } from 'tsup'

const CONSTANT = /^var (?=[A-Z][A-Z0-9_]* = )/gm
const RENAMED_CLASS = /^var (\w+) = class _\1\b.* \{$/gm

/**
 * How the packages are built. JavaScript only: tsup's own declaration step does not work with TypeScript 7, so tsc emits
 * the declarations.
 */
export default defineConfig({
  entry: ['src/index.ts'],
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  clean: true,
  plugins: [
    {
      // The bundler makes `var` of `const`, and V8 then reads every constant anew where it is used, instead of compiling
      // it in: a quarter of what a small message costs.
      name: 'constants-stay-const',
      renderChunk: (code, { map = null }) => ({ code: code.replace(CONSTANT, 'const '), map }),
    },
    {
      // The bundler gives a class that names itself, as in `new Segment` inside of Segment, another name for its inside,
      // which then stands in what consoles, debuggers and error messages print. A bundler of the program does the same.
      name: 'classes-keep-their-names',
      renderChunk: (code, { map = null }) => ({ code: code.replace(RENAMED_CLASS, '$& static name = "$1";'), map }),
    },
  ],
})
