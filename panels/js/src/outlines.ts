/** Labels as lines: each class has its side of a border in its colour. */

import { stroke } from "./marks";
import { borders, type Colour, type Mask } from "./mask";

export type Outline = { colour: string; sides: Path2D[] };

const SIDES = [[0, -1], [0, 1], [-1, 0], [1, 0]] as const; // from a border to the class that has it below, above, ...

/** Lines x0, y0, x1, y1, one after the other, as a path. */
export function traced(lines: number[], x = 0, y = 0): Path2D {
  const path = new Path2D();
  for (let i = 0; i < lines.length; i += 4) {
    path.moveTo(lines[i]! + x, lines[i + 1]! + y);
    path.lineTo(lines[i + 2]! + x, lines[i + 3]! + y);
  }
  return path;
}

/** The borders of the label, each class's side of them in its colour. */
export function outlines(labels: Mask, colours: readonly Colour[]): Outline[] {
  return [...borders(labels)].map(([value, sides]) => ({
    colour: `rgb(${(colours[value] ?? [128, 128, 128]).join()})`,
    sides: sides.map((lines) => traced(lines)),
  }));
}

/** Draws outlines in lines of the same width at any scale, with a dark rim. */
export function drawOutlines(context: CanvasRenderingContext2D, drawn: Outline[], scale: number): void {
  for (const { sides } of drawn) {
    for (const side of sides) stroke(context, 5 / scale, "#0007", side);
  }
  for (const { colour, sides } of drawn) {
    sides.forEach((side, place) => {
      const [right, down] = SIDES[place]!;
      context.save();
      context.translate(right / scale, down / scale);
      stroke(context, 2 / scale, colour, side);
      context.restore();
    });
  }
}
