import type { Action, At, Card, Choice } from "./card";
import { pieces } from "./card";
import { Chart } from "./charts";
import { React, usePython } from "./host";

export type CardsView = { cards: Card[]; on_pick: string; on_choose: string };

const LEAST = 440; // CSS pixels of a card
const GAP = 12;
const LINE = "var(--fo-palette-divider, #8886)";
const EDGE = "color-mix(in srgb, currentColor 35%, transparent)"; // of buttons; the App's dividers hardly show

/** A page of cards: as many side by side as there is room for; every mark is a button. */
export function Cards({ schema: { view } }: { schema: { view: CardsView } }) {
  const python = usePython();
  const pick = (card: string, at: At) => void python(view.on_pick, { card, at });
  const latest = React.useRef({ view, pick });
  latest.current = { view, pick };
  React.useEffect(() => listen(() => latest.current), []);
  return (
    <div
      data-cy="label-quality-cards"
      style={{
        columns: `${LEAST}px`, // cards are as high as what they hold, the next one stands right below
        columnGap: GAP,
        font: "14px/1.5 var(--fo-fontFamily-body, sans-serif)",
        color: "var(--fo-palette-text-primary, #222)",
      }}
    >
      {view.cards.map((card) => (
        <section
          key={card.name}
          data-cy={`card-${card.name}`}
          aria-label={card.title}
          style={{
            columnSpan: card.wide ? "all" : undefined,
            breakInside: "avoid",
            marginBottom: GAP,
            padding: "10px 14px 12px",
            border: `1px solid ${card.warns ? "var(--fo-palette-warning-main, #e69f00)" : LINE}`,
            borderRadius: 6,
            background: "var(--fo-palette-background-level1, #fff)",
          }}
        >
          <Head card={card} choose={(value) => void python(view.on_choose, { path: card.choice!.path, value })} />
          {card.lines?.map((text, place) => <Line key={place} text={text} />)}
          {card.body && <Chart body={card.body} pick={(at) => pick(card.name, at)} />}
          {card.actions && <Actions actions={card.actions} pick={(at) => pick(card.name, at)} />}
        </section>
      ))}
    </div>
  );
}

function Head({ card, choose }: { card: Card; choose: (value: string) => void }) {
  const { choice } = card;
  return (
    <div style={{ display: "flex", flexWrap: "wrap", alignItems: "center", gap: 8, marginBottom: 6 }}>
      <h2 style={{ font: "inherit", fontWeight: 700, fontSize: 15, margin: 0, flex: "1 1 auto" }}>{card.title}</h2>
      {choice?.slider && <Slider key={choice.value} choice={choice} title={card.title} choose={choose} />}
      {choice && !choice.slider && (
        <select
          aria-label={card.title}
          value={choice.value}
          onChange={(event) => choose(event.target.value)}
          style={{
            font: "inherit",
            color: "inherit",
            background: "var(--fo-palette-background-level2, #eee)",
            border: `1px solid ${LINE}`,
            borderRadius: 4,
            padding: "2px 6px",
            maxWidth: "100%",
          }}
        >
          {choice.options.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

/** A choice among values in order; Python is told when the thumb is let go. */
function Slider({ choice, title, choose }: { choice: Choice; title: string; choose: (value: string) => void }) {
  const start = Math.max(choice.options.findIndex(([value]) => value === choice.value), 0);
  const [place, setPlace] = React.useState(start);
  const settle = () => place !== start && choose(choice.options[place]![0]);
  return (
    <label style={{ display: "flex", alignItems: "center", gap: 8 }}>
      <span>{choice.options[place]![1]}</span>
      <input
        type="range"
        aria-label={title}
        aria-valuetext={choice.options[place]![1]}
        min={0}
        max={choice.options.length - 1}
        step={1}
        value={place}
        onChange={(event) => setPlace(Number(event.target.value))}
        onPointerUp={settle}
        onKeyUp={settle}
        style={{ accentColor: "var(--fo-palette-primary-main, #ff6d04)" }}
      />
    </label>
  );
}

function Line({ text }: { text: string }) {
  return (
    <p style={{ margin: "2px 0 6px", overflowWrap: "anywhere" }}>
      {pieces(text).map((piece, place) => (place % 2 ? <b key={place}>{piece}</b> : piece))}
    </p>
  );
}

function Actions({ actions, pick }: { actions: Action[]; pick: (at: At) => void }) {
  return (
    <div style={{ display: "flex", flexWrap: "wrap", gap: 8, marginTop: 8 }}>
      {actions.map(({ name, label, primary, disabled, key }) => (
        <button
          key={name}
          disabled={disabled}
          title={key && `Key: ${key}`}
          onClick={() => pick(name)}
          style={{
            font: "inherit",
            padding: "4px 14px",
            borderRadius: 4,
            cursor: disabled ? "default" : "pointer",
            opacity: disabled ? 0.5 : 1,
            border: `1px solid ${primary ? "transparent" : EDGE}`,
            color: primary ? "#fff" : "inherit",
            background: primary ? "var(--fo-palette-primary-main, #d55e00)" : "transparent",
          }}
        >
          {label}
          {key && <kbd style={{ marginLeft: 8, opacity: 0.75 }}>{key}</kbd>}
        </button>
      ))}
    </div>
  );
}

type Latest = () => { view: CardsView; pick: (card: string, at: At) => void };

/** Keys of actions work wherever the focus is, but where somebody types or a sample is open. */
function listen(latest: Latest): () => void {
  const press = (event: KeyboardEvent) => {
    const typing = (event.target as Element).closest?.("input, textarea, select, [contenteditable], [role=dialog]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector("[data-cy=modal], [data-cy=label-correction-canvas]:focus")) return;
    const { view, pick } = latest();
    for (const { name, actions } of view.cards) {
      const meant = actions?.find(({ key, disabled }) => key === event.key.toLowerCase() && !disabled);
      if (!meant) continue;
      event.preventDefault();
      event.stopPropagation();
      return pick(name, meant.name);
    }
  };
  document.addEventListener("keydown", press, { capture: true });
  return () => document.removeEventListener("keydown", press, { capture: true });
}
