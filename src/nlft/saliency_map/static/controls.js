// The panel of settings: a slider and a field for each number, a choice for each variant.
import { CHOICES, NUMBERS, ONES, SLIDERS, SWITCHES, parseNumber } from "./settings.js";
import { element } from "./text.js";

export class Controls {
  /** `describe` holds each setting's meaning; `onChange(settings)` hears of every change. */
  constructor(main, more, describe, onChange) {
    Object.assign(this, { describe, onChange, fields: new Map(), settings: {} });
    main.append(...SLIDERS.map((slider) => this.#slider(...slider)), ...CHOICES.slice(0, 2).map((c) => this.#choice(...c)));
    more.append(
      ...CHOICES.slice(2).map((choice) => this.#choice(...choice)),
      ...NUMBERS.map((number) => this.#number(...number)),
      ...SWITCHES.map((item) => this.#switch(...item)),
      this.#ones(),
    );
  }

  /** Show settings without telling anyone. */
  show(settings) {
    this.settings = { ...settings };
    for (const [name, fields] of this.fields) {
      for (const write of fields) write(settings[name]);
    }
  }

  #change(name, value) {
    this.settings = { ...this.settings, [name]: value };
    for (const write of this.fields.get(name)) write(value);
    this.onChange(this.settings);
  }

  #register(name, write) {
    this.fields.set(name, [...(this.fields.get(name) ?? []), write]);
  }

  #labelled(name, label, field) {
    const box = element("label", "setting", element("span", "label", label), field);
    box.title = this.describe[name];
    return box;
  }

  #field(name) {
    const field = element("input", "number");
    field.type = "text";
    field.inputMode = "decimal";
    field.name = name;
    field.autocomplete = "off";
    field.addEventListener("change", () => {
      const value = parseNumber(name, field.value);
      if (value === undefined) {
        field.setAttribute("aria-invalid", "true");
        field.title = `${field.value} is not valid: ${this.describe[name]}`;
      } else this.#change(name, value);
    });
    this.#register(name, (value) => {
      field.value = value === null ? "" : String(value);
      field.removeAttribute("aria-invalid");
      field.removeAttribute("title");
    });
    return field;
  }

  #slider(name, label, least, most, step) {
    const slider = element("input", "slider");
    Object.assign(slider, { type: "range", min: least, max: most, step, name: `${name}-slider` });
    slider.setAttribute("aria-label", `${label}, slider`);
    // The slider's ends are not the setting's: a value beyond them stays in the field.
    slider.addEventListener("input", () => this.#change(name, Number(slider.value)));
    this.#register(name, (value) => {
      if (Number(slider.value) !== value) slider.value = value;
    });
    const box = element("div", "setting with-slider", this.#labelled(name, label, this.#field(name)), slider);
    return box;
  }

  #number(name, label) {
    return this.#labelled(name, label, this.#field(name));
  }

  #choice(name, label, options) {
    const select = element("select", "", ...options.map((option) => new Option(option.replace("_", " "), option)));
    select.name = name;
    select.addEventListener("change", () => this.#change(name, select.value));
    this.#register(name, (value) => (select.value = value));
    return this.#labelled(name, label, select);
  }

  #switch(name, label) {
    const box = element("input");
    box.type = "checkbox";
    box.name = name;
    box.addEventListener("change", () => this.#change(name, box.checked));
    this.#register(name, (value) => (box.checked = value));
    return this.#labelled(name, label, box);
  }

  #ones() {
    const boxes = ONES.map((role) => {
      const box = element("input");
      box.type = "checkbox";
      box.addEventListener("change", () => {
        const others = this.settings.ones.filter((other) => other !== role);
        // In the order of ONES, so that the same choice is the same setting.
        const chosen = box.checked ? [...others, role] : others;
        this.#change("ones", ONES.filter((one) => chosen.includes(one)));
      });
      this.#register("ones", (value) => (box.checked = value.includes(role)));
      return element("label", "one", box, role.replace("_", "-"));
    });
    const group = element("fieldset", "ones", element("legend", "", "scale 1 for"), ...boxes);
    group.title = this.describe.ones;
    return group;
  }
}
