/** Marks at places of the screen. */

/** Screen pixels per image pixel from which on the image's pixels are shown as squares. */
export const CRISP = 14;

const ARMS = [[1, 0], [-1, 0], [0, 1], [0, -1]] as const;

/** The pixel that the question is about. */
export function target(context: CanvasRenderingContext2D, x: number, y: number): void {
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  for (const [right, down] of ARMS) {
    context.moveTo(x + 4 * right, y + 4 * down);
    context.lineTo(x + 11 * right, y + 11 * down);
  }
  stroke(context, 4, "#000");
  stroke(context, 2, "#ffd400");
}

/** Where the region was told to reach, or not to. */
export function sign(context: CanvasRenderingContext2D, x: number, y: number, positive: boolean): void {
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  context.fillStyle = positive ? "#1b7f3b" : "#c62828";
  context.fill();
  for (const [right, down] of positive ? ARMS : ARMS.slice(0, 2)) {
    context.moveTo(x, y);
    context.lineTo(x + 3.5 * right, y + 3.5 * down);
  }
  stroke(context, 2, "#fff");
}

/** Draws a path, or what has been begun. */
export function stroke(
  context: CanvasRenderingContext2D,
  width: number,
  colour: string,
  path?: Path2D,
): void {
  context.lineWidth = width;
  context.strokeStyle = colour;
  if (path) context.stroke(path);
  else context.stroke();
}
