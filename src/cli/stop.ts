export const STOP_CODES = Object.freeze({ SIGINT: 130, SIGTERM: 143 })
export type StopSignal = keyof typeof STOP_CODES

/** Ctrl-C under `npm start` comes twice at once: from the terminal, and passed on by npm. */
const SAME_SIGNAL_MS = 300

/** Calls `stop` at the first SIGTERM or SIGINT; another one, later, ends the process at once. */
export function onStop(stop: (signal: StopSignal) => void): void {
  let since: number | undefined
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (since === undefined) {
        since = performance.now()
        stop(name)
      } else if (performance.now() - since > SAME_SIGNAL_MS) process.exit(STOP_CODES[name])
    })
  }
}
