/** What Python puts into the view of a page of cards. `at` says what a click on a mark is about. */

export type At = string | number;

export type Card = {
  name: string;
  title: string;
  wide?: boolean; // over the whole width
  warns?: boolean;
  lines?: string[]; // paragraphs; **bold** is the only markup
  choice?: Choice;
  actions?: Action[];
  body?: Body;
};

export type Choice = { path: string; value: string; options: [value: string, label: string][]; slider?: boolean };
export type Action = { name: string; label: string; primary?: boolean; disabled?: boolean; key?: string };

export type Body =
  | { kind: "pictures"; items: { at: At; source: string; title: string; text: string }[] }
  | { kind: "histogram"; edges: number[]; counts: number[]; texts: string[]; mark?: number; axis: [string, string] }
  | { kind: "bars"; legend: [name: string, colour: string][]; rows: BarRow[] }
  | { kind: "matrix"; rows: string[]; columns: string[]; colours: Record<string, string>; values: number[][]; texts: string[][] }
  | { kind: "intervals"; rows: { name: string; low: number; high: number; estimate: number; text: string }[] }
  | { kind: "curves"; series: Series[]; x: Axis; y: Axis };

export type BarRow = { at?: At; name: string; colour?: string; bars: Bar[]; text: string };
export type Bar = { at?: At; share: number; colour: string; title: string }; // share of the full width
export type Series = { name: string; colour: string; dashed?: boolean; points: [number, number][]; band?: [number, number, number][] };
export type Axis = { title: string; low: number; high: number; percent?: boolean };

/** Evenly spaced numbers for an axis, round ones. */
export function ticks(low: number, high: number, most = 5): number[] {
  const rough = (high - low) / Math.max(most - 1, 1);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((one) => one >= rough * 0.999)!;
  const found: number[] = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) {
    found.push(Number((place * step).toPrecision(12)));
  }
  return found;
}

/** Text in pieces, every other one bold. */
export const pieces = (text: string): string[] => text.split("**");

/** Which class stands behind how dark: square roots, or a few common pairs would leave all others pale. */
export const depth = (value: number, most: number): number => (most > 0 ? Math.sqrt(value / most) : 0);
