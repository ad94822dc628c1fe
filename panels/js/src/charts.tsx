import { depth, ticks, type At, type Axis, type BarRow, type Body, type Series } from "./card";
import { React } from "./host";

type Pick = (at: At) => void;
type Of<Kind extends Body["kind"]> = Extract<Body, { kind: Kind }>;

const GRID = "var(--fo-palette-divider, #8886)";
const FAINT = "var(--fo-palette-text-secondary, #777)";
const BLUE = "#3b82d6";
const MARK = { font: "inherit", color: "inherit", background: "none", border: 0, padding: 0, cursor: "pointer" } as const;

export function Chart({ body, pick }: { body: Body; pick: Pick }) {
  switch (body.kind) {
    case "pictures":
      return <Pictures body={body} pick={pick} />;
    case "histogram":
      return <Histogram body={body} pick={pick} />;
    case "bars":
      return <Bars body={body} pick={pick} />;
    case "matrix":
      return <Matrix body={body} pick={pick} />;
    case "intervals":
      return <Intervals body={body} />;
    case "curves":
      return <Curves body={body} />;
  }
}

function Pictures({ body, pick }: { body: Of<"pictures">; pick: Pick }) {
  return (
    <div style={{ display: "grid", gridTemplateColumns: "repeat(auto-fill, minmax(min(100%, 220px), 1fr))", gap: 10 }}>
      {body.items.map(({ at, source, title, text }) => (
        <button key={at} title={title} onClick={() => pick(at)} style={{ ...MARK, textAlign: "left", minWidth: 0 }}>
          <img
            src={source}
            alt={title}
            style={{ width: "100%", aspectRatio: "4 / 3", objectFit: "contain", background: "#0003", borderRadius: 4 }}
          />
          <span style={{ display: "block", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>
            {text}
          </span>
        </button>
      ))}
    </div>
  );
}

function Histogram({ body, pick }: { body: Of<"histogram">; pick: Pick }) {
  const { edges, counts, texts, mark, axis } = body;
  const most = Math.max(...counts, 1);
  const [low, high] = [edges[0]!, edges[edges.length - 1]!];
  const along = (value: number) => `${(100 * (value - low)) / (high - low)}%`;
  return (
    <div>
      <div style={{ position: "relative", height: 170, display: "flex", alignItems: "flex-end", borderBottom: `1px solid ${GRID}` }}>
        {counts.map((count, place) => (
          <button
            key={place}
            title={texts[place]}
            aria-label={texts[place]}
            disabled={!count}
            onClick={() => pick(place)}
            style={{ ...MARK, flex: 1, height: "100%", display: "flex", alignItems: "flex-end", padding: "0 1px" }}
          >
            <span
              style={{ width: "100%", height: `${(90 * count) / most}%`, minHeight: count ? 3 : 0, background: BLUE }}
            />
          </button>
        ))}
        {mark !== undefined && (
          <span style={{ position: "absolute", left: along(mark), top: 0, bottom: 0, borderLeft: "2px dashed #d55e00" }}>
            <small style={{ position: "absolute", [mark > (low + high) / 2 ? "right" : "left"]: 4, whiteSpace: "nowrap" }}>
              half of the images
            </small>
          </span>
        )}
      </div>
      <div style={{ position: "relative", height: 20, color: FAINT, fontSize: 12 }}>
        {ticks(low, high, 6).map((value) => (
          <span key={value} style={{ position: "absolute", left: along(value), transform: "translateX(-50%)" }}>
            {value}
          </span>
        ))}
      </div>
      <div style={{ display: "flex", justifyContent: "space-between", color: FAINT, fontSize: 12 }}>
        {axis.map((text) => (
          <span key={text}>{text}</span>
        ))}
      </div>
    </div>
  );
}

const Chip = ({ colour }: { colour: string }) => (
  <span
    style={{ display: "inline-block", width: 12, height: 12, borderRadius: 2, background: colour, marginRight: 6, border: `1px solid ${GRID}`, flex: "none" }}
  />
);

function Legend({ entries }: { entries: [string, string][] }) {
  return (
    <div style={{ display: "flex", flexWrap: "wrap", gap: "2px 14px", fontSize: 12, marginBottom: 4 }}>
      {entries.map(([name, colour]) => (
        <span key={name} style={{ display: "inline-flex", alignItems: "center" }}>
          <Chip colour={colour} />
          {name}
        </span>
      ))}
    </div>
  );
}

type MarkProps = { at?: At; title: string; pick: Pick; style: React.CSSProperties; children?: React.ReactNode };

/** A part of a chart: a button where there is something behind it. */
function Mark({ at, title, pick, style, children }: MarkProps) {
  if (at === undefined) return <span title={title} style={style} children={children} />;
  return (
    <button title={title} aria-label={title} onClick={() => pick(at)} style={{ ...MARK, textAlign: "left", ...style }}>
      {children}
    </button>
  );
}

function Bars({ body, pick }: { body: Of<"bars">; pick: Pick }) {
  const row = ({ at, name, colour, bars, text }: BarRow, place: number) => (
    <React.Fragment key={place}>
      <Mark at={at} title={`${name}: ${text}`} pick={pick} style={{ display: "flex", alignItems: "center", minWidth: 0 }}>
        {colour && <Chip colour={colour} />}
        <span style={{ overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>{name}</span>
      </Mark>
      <span style={{ display: "flex", height: 18, alignSelf: "center", background: "#8882" }}>
        {bars.map((bar, number) => (
          <Mark
            key={number}
            at={bar.at ?? at}
            title={bar.title}
            pick={pick}
            style={{ width: `${100 * bar.share}%`, background: bar.colour, boxShadow: "inset -1px 0 #0006" }}
          />
        ))}
      </span>
      <span style={{ textAlign: "right", whiteSpace: "nowrap", fontSize: 13 }}>{text}</span>
    </React.Fragment>
  );
  return (
    <div>
      <Legend entries={body.legend} />
      <div
        style={{ display: "grid", gridTemplateColumns: "minmax(70px, max-content) minmax(60px, 1fr) auto", gap: "5px 10px" }}
      >
        {body.rows.map(row)}
      </div>
    </div>
  );
}

const NAMES = 116; // CSS pixels of the names of the rows
const CELL = { least: 28, most: 64 };
const UPRIGHT = 4; // columns from which their names stand upright

/** Every column is in sight down to the width in which its numbers can be read. */
function Matrix({ body, pick }: { body: Of<"matrix">; pick: Pick }) {
  const { rows, columns, colours, values, texts } = body;
  const most = Math.max(...values.flat(), 1);
  const cut = { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } as const;
  const name = { ...cut, fontWeight: 400, padding: "2px 6px", textAlign: "left", position: "sticky", left: 0 } as const;
  const upright = columns.length > UPRIGHT && ({ writingMode: "vertical-rl", transform: "rotate(180deg)", maxHeight: NAMES } as const);
  const width = (cell: number) => NAMES + columns.length * cell;
  return (
    <div style={{ overflowX: "auto" }}>
      <table style={{ borderCollapse: "separate", borderSpacing: 2, fontSize: 13, tableLayout: "fixed", width: "100%", minWidth: width(CELL.least), maxWidth: width(CELL.most) }}>
        <thead>
          <tr>
            <th style={{ ...name, whiteSpace: "normal", verticalAlign: "bottom", width: NAMES, color: FAINT }}>label says ↓ should be →</th>
            {columns.map((column) => (
              <th key={column} scope="col" title={column} style={{ fontWeight: 400, verticalAlign: "bottom", padding: 0 }}>
                <span style={{ ...cut, ...upright, display: "inline-block", maxWidth: "100%" }}>
                  <Chip colour={colours[column] ?? "transparent"} />
                  {column}
                </span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((given, down) => (
            <tr key={given}>
              <th scope="row" title={given} style={{ ...name, background: "var(--fo-palette-background-level1, #fff)" }}>
                <Chip colour={colours[given] ?? "transparent"} />
                {given}
              </th>
              {columns.map((suggested, across) => {
                const value = values[down]![across]!;
                return (
                  <td key={suggested} style={{ padding: 0, height: 28, background: "#8881" }}>
                    {value > 0 && (
                      <button
                        title={`${given} → ${suggested}: ${texts[down]![across]}`}
                        onClick={() => pick(`${given}\u001f${suggested}`)}
                        style={{ ...MARK, width: "100%", height: "100%", color: "#fff", padding: 0, overflow: "hidden", background: `color-mix(in srgb, #b34700 ${Math.round(100 * depth(value, most))}%, #4b5563)` }}
                      >
                        {texts[down]![across]}
                      </button>
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Intervals({ body }: { body: Of<"intervals"> }) {
  return (
    <div style={{ display: "grid", gridTemplateColumns: "max-content minmax(60px, 1fr) auto", gap: "5px 10px" }}>
      {body.rows.map(({ name, low, high, estimate, text }) => (
        <React.Fragment key={name}>
          <span>{name}</span>
          <span style={{ position: "relative", height: 16, alignSelf: "center", background: "#8882" }}>
            <span style={{ position: "absolute", left: `${100 * low}%`, width: `${100 * (high - low)}%`, top: 6, height: 4, background: "#d55e0099" }} />
            <span style={{ position: "absolute", left: `calc(${100 * estimate}% - 5px)`, top: 3, width: 10, height: 10, borderRadius: 5, background: "#d55e00" }} />
          </span>
          <span style={{ textAlign: "right", fontSize: 13 }}>{text}</span>
        </React.Fragment>
      ))}
    </div>
  );
}

const SHEET = { width: 480, height: 220, left: 46, right: 10, top: 8, bottom: 38 };

function Curves({ body: { series, x, y } }: { body: Of<"curves"> }) {
  const { width, height, left, right, top, bottom } = SHEET;
  const across = (value: number) => left + ((width - left - right) * (value - x.low)) / (x.high - x.low || 1);
  const down = (value: number) => height - bottom - ((height - top - bottom) * (value - y.low)) / (y.high - y.low || 1);
  const text = (axis: Axis, value: number) => (axis.percent ? `${Math.round(100 * value)} %` : value.toLocaleString("en"));
  const path = (points: [number, number][]) => points.map(([a, b]) => `${across(a)},${down(b)}`).join(" ");
  const band = ({ band: rows = [] }: Series) =>
    path([...rows.map(([a, low]) => [a, low] as [number, number]), ...[...rows].reverse().map(([a, , high]) => [a, high] as [number, number])]);
  return (
    <div>
      {series.length > 1 && <Legend entries={series.map(({ name, colour }) => [name, colour])} />}
      <div style={{ color: FAINT, fontSize: 12 }}>{y.title}</div>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`${y.title} over ${x.title}`} style={{ width: "100%", maxHeight: 300, fontSize: 12 }}>
        {ticks(y.low, y.high).map((value) => (
          <g key={value}>
            <line x1={left} x2={width - right} y1={down(value)} y2={down(value)} stroke={GRID} />
            <text x={left - 6} y={down(value) + 4} textAnchor="end" fill={FAINT}>
              {text(y, value)}
            </text>
          </g>
        ))}
        {ticks(x.low, x.high).map((value) => (
          <text key={value} x={across(value)} y={height - bottom + 16} textAnchor="middle" fill={FAINT}>
            {text(x, value)}
          </text>
        ))}
        <text x={(left + width - right) / 2} y={height - 5} textAnchor="middle" fill={FAINT}>
          {x.title}
        </text>
        {series.map((one) => (
          <g key={one.name}>
            {one.band && <polygon points={band(one)} fill={one.colour} opacity={0.2} />}
            <polyline points={path(one.points)} fill="none" stroke={one.colour} strokeWidth={2} strokeDasharray={one.dashed ? "6 4" : undefined}>
              <title>{one.name}</title>
            </polyline>
          </g>
        ))}
      </svg>
    </div>
  );
}
