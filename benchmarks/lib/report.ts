import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { machine } from './machine.ts'

const RESULTS = new URL('../results/', import.meta.url)

/** One benchmark's outcome: raw figures, a table for people, and pictures. */
export interface Report {
  readonly name: string
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** A second table, under the first. */
  readonly details?: { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] }
  /** What the rows were made from. */
  readonly figures: unknown
  readonly charts: Readonly<Record<string, string>>
}

/** Prints the table; `keep` writes results/<name>.json, .md and .svg as well. */
export function publish(report: Report, { keep }: { keep: boolean }): void {
  const tables = [report, ...(report.details === undefined ? [] : [report.details])]
  const shown = tables.map(({ columns, rows }) => terminalTable(columns, rows)).join('\n\n')
  process.stdout.write(`\n${report.title}\n${shown}\n\n`)
  if (!keep) return
  mkdirSync(RESULTS, { recursive: true })
  const on = machine()
  writeFileSync(new URL(`${report.name}.json`, RESULTS), `${JSON.stringify({ machine: on, figures: report.figures }, null, 2)}\n`)
  const charts = Object.entries(report.charts).map(([name, svg]) => {
    writeFileSync(new URL(`${name}.svg`, RESULTS), svg)
    return `![${name}](${name}.svg)`
  })
  const table = tables.map(({ columns, rows }) => markdownTable(columns, rows)).join('\n\n')
  const where = `${on.date}, commit ${on.commit}, Node ${on.node}, ${on.cores} × ${on.cpu}, ${on.memoryGiB} GiB, Linux ${on.kernel}`
  writeFileSync(new URL(`${report.name}.md`, RESULTS), `# ${report.title}\n\n${where}\n\n${table}\n\n${charts.join('\n\n')}\n`)
}

/** Aligned, for people at a terminal. */
export function terminalTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [columns, ...rows]
  const widths = columns.map((_, i) => Math.max(...all.map((cells) => cells[i]?.length ?? 0)))
  return all.map((cells) => `  ${cells.map((cell, i) => cell.padEnd(widths[i] as number)).join('  ')}`.trimEnd()).join('\n')
}

export function markdownTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}

export function readResult(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`${name}.json`, RESULTS), 'utf8'))
}
