import { defineConfig } from 'tsup'

/** An upper-case constant, or a constant arrow function, at the top of a module. */
const CONSTANT = /^var (?=[A-Z][A-Z0-9_]* = |\w+ = \([^)]*\) => )/gm
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
      // The bundler turns `const` into `var`. V8 then reads a constant at every use instead of compiling it in, which costs a
      // quarter of the time of a small message; and it checks at every call of a constant function that it is still the
      // same one, which costs a tenth of the time of a message that is claimed and drained.
      name: 'constants-stay-const',
      renderChunk: (code, { map = null }) => ({ code: code.replace(CONSTANT, 'const '), map }),
    },
    {
      // If a class names itself, as in `new Segment` inside Segment, the bundler gives it another inner name, which consoles,
      // debuggers and error messages then print. The bundler of a program does the same.
      name: 'classes-keep-their-names',
      renderChunk: (code, { map = null }) => ({ code: code.replace(RENAMED_CLASS, '$& static name = "$1";'), map }),
    },
  ],
})
