import { LabelCorrection } from "./canvas";
import { Cards } from "./cards";
import { Compare } from "./compare";
import { pressButtons } from "./focus";
import { missing, register } from "./host";

pressButtons();
const lacking = missing();
if (lacking.length) {
  // Without the component the App says "Unsupported view"; the panel offers its plain viewer beside it.
  console.error(`Label quality: this FiftyOne App lacks ${lacking.join(", ")}; use the plain viewer.`);
} else {
  register("LabelCorrectionCanvas", LabelCorrection);
  register("LabelQualityCards", Cards);
  register("LabelChanges", Compare);
}
