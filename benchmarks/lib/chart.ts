import { init } from 'echarts'

export interface BarChart {
  readonly title: string
  /** With its unit. */
  readonly yName: string
  readonly categories: readonly string[]
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[]
  /** A dashed line, e.g. an aim. */
  readonly aim?: { readonly name: string; readonly value: number }
  /** Pixels. */
  readonly width?: number
}

/** An SVG picture as text. */
export function barChart({ title, yName, categories, series, aim, width = 760 }: BarChart): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height: 380 })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 12, top: 8, textStyle: { fontSize: 15 } },
    legend: { bottom: 4, data: series.map((s) => s.name) },
    grid: { left: 64, right: 24, top: 56, bottom: 60 },
    xAxis: { type: 'category', data: [...categories], axisLabel: { interval: 0 } },
    yAxis: { type: 'value', name: yName },
    series: series.map(({ name, values }, i) => ({
      name,
      type: 'bar',
      barMaxWidth: 48,
      data: values.map((value) => Number(value.toFixed(3))),
      label: { show: true, position: 'top', fontSize: 11 },
      ...(i === 0 && aim !== undefined
        ? {
            markLine: {
              symbol: 'none',
              lineStyle: { type: 'dashed', color: '#444' },
              data: [{ yAxis: aim.value, name: aim.name, label: { formatter: aim.name, position: 'insideEndTop' } }],
            },
          }
        : {}),
    })),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
