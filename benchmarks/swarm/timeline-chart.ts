import { init } from 'echarts'
import type { PieceHeld } from './timeline.ts'
import type { Usage } from './usage-samples.ts'

const WIDTH = 1200
const ROW_PX = 22
const LINES_PX = 260
const USE_PX = 130
const GAP_PX = 56
const TOP_PX = 64

export interface TimelineChart {
  readonly title: string
  readonly held: readonly PieceHeld[]
  /** Milliseconds since the epoch. */
  readonly start: number
  /** Of all blobs together. */
  readonly pieces: number
  readonly hosts: number
  readonly usage: readonly Usage[]
}

/** Who came to hold a piece when and from where, how much each had, and how busy machine and origin were. SVG as text. */
export function timelineChart({ title, held, start, pieces, hosts, usage }: TimelineChart): string {
  const rowsPx = hosts * ROW_PX
  const tops = [TOP_PX, TOP_PX + rowsPx + GAP_PX, TOP_PX + rowsPx + LINES_PX + 2 * GAP_PX]
  const heights = [rowsPx, LINES_PX, USE_PX]
  const height = (tops[2] as number) + USE_PX + GAP_PX
  const seconds = (time: number): number => (time - start) / 1_000
  const end = Math.ceil(Math.max(1, ...held.map(({ time }) => seconds(time))))
  const dots = (origin: boolean) =>
    held
      .filter(({ from }) => (from === 'origin') === origin)
      .map(({ time, host, index }) => [seconds(time), host - 0.4 + (0.8 * index) / pieces])
  const lines = [...Map.groupBy(held, ({ host }) => host)].map(([host, own]) => ({
    name: `host ${host}`,
    type: 'line',
    xAxisIndex: 1,
    yAxisIndex: 1,
    showSymbol: false,
    lineStyle: { width: 1 },
    data: own.toSorted((a, b) => a.time - b.time).map(({ time }, i) => [seconds(time), (100 * (i + 1)) / pieces]),
  }))
  const scatter = (name: string, origin: boolean, color: string) => ({
    name,
    type: 'scatter',
    symbolSize: origin ? 4 : 2.5,
    itemStyle: { color },
    data: dots(origin),
  })
  const used = (name: string, of: (each: Usage) => number, color: string) => ({
    name,
    type: 'line',
    xAxisIndex: 2,
    yAxisIndex: 2,
    showSymbol: false,
    itemStyle: { color },
    data: usage.map((each) => [each.atS, 100 * of(each)]),
  })
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 12, top: 8, textStyle: { fontSize: 15 } },
    legend: { top: 34, data: ['from the origin', 'from a peer', "machine's CPU", "origin's link"] },
    grid: tops.map((top, i) => ({ left: 64, right: 24, top, height: heights[i] })),
    xAxis: tops.map((_, gridIndex) => ({ gridIndex, type: 'value', min: 0, max: end, name: gridIndex === 2 ? 's' : '' })),
    yAxis: [
      {
        gridIndex: 0,
        type: 'value',
        name: 'host',
        nameLocation: 'start',
        min: 0,
        max: hosts + 1,
        interval: 1,
        inverse: true,
        axisLabel: { showMinLabel: false, showMaxLabel: false },
      },
      { gridIndex: 1, type: 'value', name: '% of pieces held, a line for each host', nameTextStyle: { align: 'left' }, max: 100 },
      { gridIndex: 2, type: 'value', name: '% in use', max: 110 },
    ],
    series: [
      scatter('from a peer', false, '#9aa5b1'),
      scatter('from the origin', true, '#d9480f'),
      ...lines,
      used("machine's CPU", ({ machineShare }) => machineShare, '#1971c2'),
      used("origin's link", ({ originShare }) => originShare, '#d9480f'),
    ],
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
