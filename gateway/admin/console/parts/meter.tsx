/** How much of a limit is used: a bar and its words. */
interface MeterProps {
  readonly label: string
  readonly part: number
  readonly whole: number
}

/** Colored from 80 % on; the words beside it say the same. */
export function Meter({ label, part, whole }: MeterProps) {
  const share = whole <= 0 ? 0 : Math.min(1, part / whole)
  return (
    <span class="meter">
      <meter aria-label={label} min={0} max={1} high={0.8} optimum={0} value={share} />
      {percentText(part, whole)}
    </span>
  )
}

function percentText(part: number, whole: number): string {
  if (whole <= 0) return 'no limit'
  const percent = (100 * part) / whole
  return percent > 0 && percent < 1 ? '< 1 %' : `${Math.round(percent)} %`
}
