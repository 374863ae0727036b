import { join, sep } from 'node:path'
import ts from 'typescript-5.4'
import { type PublicEntry, root } from './public-entries.js'

const PACKAGES = join(root, 'packages') + sep

/**
 * The surface of entries as text: every exported name with its declaration, without comments, in alphabetical order. Made
 * from the declarations of the built packages, since they are what a program's compiler reads.
 */
export class ApiReporter {
  readonly #program: ts.Program
  readonly #checker: ts.TypeChecker
  readonly #printer = ts.createPrinter({ removeComments: true })

  constructor(entries: readonly PublicEntry[]) {
    this.#program = ts.createProgram(
      entries.map(({ declarations }) => declarations),
      // Names of the language and of Node.js are printed, and not followed.
      { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, noLib: true, types: [] },
    )
    this.#checker = this.#program.getTypeChecker()
  }

  report({ title, declarations }: PublicEntry): string {
    const surface = new Surface(this.#checker, this.#printer, packageOf(declarations))
    const file = this.#program.getSourceFile(declarations)
    const module = file && this.#checker.getSymbolAtLocation(file)
    if (!module) throw new Error(`Reporting ${title}: ${declarations} is no module. Build the packages first.`)
    const exported = sorted(this.#checker.getExportsOfModule(module))
    for (const symbol of exported) surface.addExport(symbol)
    return `# ${title}\n\nMade by \`npm run api\`. Exported names: ${exported.length}.\n${surface.text()}`
  }
}

/** What one entry exports, and what its declarations name beyond that. */
class Surface {
  readonly #checker: ts.TypeChecker
  readonly #printer: ts.Printer
  readonly #package: string
  readonly #exported = new Map<ts.Symbol, string>()
  readonly #unexported = new Map<ts.Symbol, string>()
  /** Names by the package that they come from. */
  readonly #reexported = new Map<string, Set<string>>()
  readonly #used = new Map<string, Set<string>>()

  constructor(checker: ts.TypeChecker, printer: ts.Printer, packageFolder: string) {
    this.#checker = checker
    this.#printer = printer
    this.#package = packageFolder
  }

  addExport(symbol: ts.Symbol): void {
    const target = this.#resolved(symbol)
    const [declaration] = target.declarations ?? []
    if (!declaration) throw new Error(`The export ${symbol.name} has no declaration`)
    const home = packageOf(declaration.getSourceFile().fileName)
    const name = this.#isTypeOnly(symbol) ? `type ${symbol.name}` : symbol.name
    if (home === this.#package) this.#exported.set(target, name)
    else addTo(this.#reexported, nameOfPackage(home), name)
  }

  text(): string {
    const exported = [...this.#exported].map(([symbol, name]) => {
      // A class that is exported as a type can be named, and neither called nor extended.
      const isTypeOfClass = name.startsWith('type ') && (symbol.flags & ts.SymbolFlags.Class) !== 0
      return `${isTypeOfClass ? '// only as a type\n' : ''}${this.#print(symbol)}`
    })
    // Their base classes are found on the way, and a Map goes on to visit what is added to it.
    for (const symbol of this.#unexported.keys()) this.#unexported.set(symbol, this.#print(symbol))
    return [
      ...lists('Everything of', this.#reexported),
      block('Exported', exported),
      block('Named by these, and not exported by this entry', [...this.#unexported.values()].sort()),
      ...lists('Used from', this.#used),
    ].join('')
  }

  #print(symbol: ts.Symbol): string {
    const nodes = (symbol.declarations ?? []).map(statementOf)
    for (const node of nodes) {
      // Of what is not exported itself, only the base classes are followed: their members are members of the exported class.
      for (const part of this.#exported.has(symbol) ? [node] : heritageOf(node)) this.#follow(part)
    }
    return nodes.map((node) => this.#textOf(node)).join('\n')
  }

  #textOf(node: ts.Node): string {
    const text = this.#printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile())
    return text.replace(/^ *#private;\n/gm, '').replace(/^(export )?(declare )?/, '')
  }

  /** Notes what a part of a declaration names. */
  #follow(node: ts.Node): void {
    if (ts.isIdentifier(node)) this.#note(node)
    ts.forEachChild(node, (child) => this.#follow(child))
  }

  #note(identifier: ts.Identifier): void {
    const symbol = this.#checker.getSymbolAtLocation(identifier)
    const [imported] = symbol?.declarations ?? []
    if (!symbol || !imported) return
    if (ts.isImportSpecifier(imported)) {
      const { moduleSpecifier } = imported.parent.parent.parent
      const from = (moduleSpecifier as ts.StringLiteral).text
      if (!from.startsWith('.')) {
        addTo(this.#used, from, (imported.propertyName ?? imported.name).text)
        return
      }
    }
    const target = this.#resolved(symbol)
    const [declaration] = target.declarations ?? []
    const isTopLevel = declaration && ts.isSourceFile(statementOf(declaration).parent)
    if (!isTopLevel || this.#exported.has(target) || this.#unexported.has(target)) return
    if (packageOf(declaration.getSourceFile().fileName) === this.#package) this.#unexported.set(target, '')
  }

  #resolved(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol
  }

  #isTypeOnly(symbol: ts.Symbol): boolean {
    const [declaration] = symbol.declarations ?? []
    if (declaration && ts.isExportSpecifier(declaration)) {
      if (declaration.isTypeOnly || declaration.parent.parent.isTypeOnly) return true
      // Follows an `export … from` to the declaration, or to an export as a type.
      const next = this.#checker.getExportSpecifierLocalTargetSymbol(declaration)
      if (next && next !== symbol) return this.#isTypeOnly(next)
    }
    return (this.#resolved(symbol).flags & ts.SymbolFlags.Value) === 0
  }
}

/** A variable's statement, or the declaration itself. */
function statementOf(declaration: ts.Declaration): ts.Node {
  return ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration
}

function heritageOf(node: ts.Node): readonly ts.Node[] {
  return ts.isClassLike(node) || ts.isInterfaceDeclaration(node) ? (node.heritageClauses ?? []) : []
}

function packageOf(path: string): string {
  return path.startsWith(PACKAGES) ? path.slice(PACKAGES.length).split(sep)[0] : ''
}

function nameOfPackage(folder: string): string {
  return folder === 'isthmus' ? folder : `@isthmus/${folder}`
}

function sorted(symbols: readonly ts.Symbol[]): ts.Symbol[] {
  return [...symbols].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function addTo(map: Map<string, Set<string>>, key: string, name: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(name))
}

function lists(head: string, map: Map<string, Set<string>>): string[] {
  const keys = [...map.keys()].sort()
  return keys.map((key) => `\n## ${head} ${key}\n\n${[...(map.get(key) ?? [])].sort(byName).join(', ')}\n`)
}

function byName(a: string, b: string): number {
  const [first, second] = [a, b].map((name) => name.replace('type ', ''))
  return first < second ? -1 : 1
}

function block(head: string, texts: string[]): string {
  return texts.length === 0 ? '' : `\n## ${head}\n\n\`\`\`ts\n${texts.join('\n\n')}\n\`\`\`\n`
}
