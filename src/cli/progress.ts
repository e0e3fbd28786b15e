import { formatBytes } from './format.ts'

export interface BarState {
  readonly label: string
  readonly doneBytes: number
  /** `undefined` until it is known. */
  readonly totalBytes: number | undefined
  readonly bytesPerSecond: number
  /** Set in the end: shown instead of the speed. */
  readonly note?: string | undefined
}

export interface Bar {
  update(doneBytes: number, totalBytes?: number | undefined): void
  end(note?: string): void
}

export interface Progress {
  bar(label: string): Bar
  /** Draws the last state and leaves it standing. */
  close(): void
}

export interface ProgressOptions {
  readonly stream: { readonly isTTY?: boolean | undefined; readonly columns?: number | undefined; write(text: string): unknown }
  /** Milliseconds on any clock that goes forward. */
  readonly now?: () => number
  /** Nothing is drawn for what takes less than this. */
  readonly afterMs?: number
}

const REDRAW_MS = 100
/** More would scroll, and what scrolls can't be drawn over. */
const MAX_LINES = 12

/** One line: `label ━━━━━━─────  43 %  12 MiB / 28 MiB  8.1 MiB/s`. */
export function renderBar(bar: BarState, columns: number): string {
  const { doneBytes, totalBytes } = bar
  const share = totalBytes === undefined ? 0 : totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes)
  const percent = totalBytes === undefined ? '   ?' : `${String(Math.floor(share * 100)).padStart(3)} %`
  const amount = totalBytes === undefined ? formatBytes(doneBytes) : `${formatBytes(doneBytes)} / ${formatBytes(totalBytes)}`
  const right = `${percent}  ${amount.padStart(21)}  ${(bar.note ?? `${formatBytes(bar.bytesPerSecond)}/s`).padEnd(12)}`
  const label = bar.label.slice(0, 28).padEnd(28)
  const width = Math.max(0, Math.min(40, columns - label.length - right.length - 3))
  const full = Math.round(share * width)
  return `${label} ${'━'.repeat(full)}${'─'.repeat(width - full)} ${right}`.slice(0, Math.max(1, columns - 1)).trimEnd()
}

/** Live bars on a terminal; on anything else silent. */
export function createProgress({ stream, now = () => performance.now(), afterMs = 1_000 }: ProgressOptions): Progress {
  const bars: (BarState & { ended: boolean; beganAt: number })[] = []
  const openedAt = now()
  let drawnLines = 0
  let timer: NodeJS.Timeout | undefined

  function draw(): void {
    if (now() - openedAt < afterMs) return
    const shown =
      bars.length <= MAX_LINES ? bars : [...bars.filter((b) => !b.ended), ...bars.filter((b) => b.ended)].slice(0, MAX_LINES)
    const lines = shown.map((bar) => `\x1b[2K${renderBar(bar, stream.columns ?? 80)}\n`)
    stream.write((drawnLines > 0 ? `\x1b[${drawnLines}A` : '') + lines.join(''))
    drawnLines = lines.length
  }

  return {
    bar(label) {
      const index = bars.length
      const beganAt = now()
      bars.push({ label, doneBytes: 0, totalBytes: undefined, bytesPerSecond: 0, ended: false, beganAt })
      if (stream.isTTY === true) timer ??= setInterval(draw, REDRAW_MS).unref()
      const set = (change: Partial<BarState> & { ended?: boolean }): void => {
        bars[index] = { ...(bars[index] as (typeof bars)[number]), ...change }
      }
      return {
        update(doneBytes, totalBytes = bars[index]?.totalBytes) {
          const seconds = (now() - beganAt) / 1_000
          set({ doneBytes, totalBytes, bytesPerSecond: seconds > 0 ? doneBytes / seconds : 0 })
        },
        end(note = 'done') {
          set({ note, ended: true })
        },
      }
    },
    close() {
      if (timer === undefined) return
      clearInterval(timer)
      timer = undefined
      draw()
    },
  }
}
