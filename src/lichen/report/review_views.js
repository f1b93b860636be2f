// Two panes beside each other, each a picture or three planes of a volume, with one crosshair for both. Channels that are
// not seen in colour have a strip of their own in each pane.
"use strict";
const Views = (() => {
  // As radiologists look at them: the patient's right on the left, front or head up. Axes of volumes are RAS+.
  const PICTURE = [{ name: "", across: 1, down: 0, through: null, isFlipped: false, letters: [] }];
  const PLANES = [
    { name: "axial", across: 0, down: 1, through: 2, isFlipped: true, letters: ["R", "L", "A", "P"] },
    { name: "coronal", across: 0, down: 2, through: 1, isFlipped: true, letters: ["R", "L", "S", "I"] },
    { name: "sagittal", across: 1, down: 2, through: 0, isFlipped: true, letters: ["A", "P", "S", "I"] },
  ];
  const SIDES = ["left", "right", "top", "bottom"];

  function make(tag, className, parent) {
    const made = document.createElement(tag);
    made.className = className;
    parent.append(made);
    return made;
  }

  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);

  class Panes {
    /**
     * `shape` (C, *S), `spacing` of voxels along each axis; the panes go into `container`, with `strips` each at most.
     * With `colours` the last channel is a label map of as many classes.
     */
    constructor(container, shape, spacing, strips, colours) {
      [this.colours, this.label] = [colours, colours.length ? shape[0] - 1 : -1];
      [this.sizes, this.voxels] = [shape.slice(1), shape.slice(1).reduce((x, y) => x * y, 1)];
      this.spacing = spacing;
      this.planes = this.sizes.length === 3 ? PLANES : PICTURE;
      this.cross = this.sizes.map((count) => Math.floor(count / 2));
      this.active = this.planes[0];
      this.shown = [];
      this.panes = [0, 1].map(() => this.pane(container, strips));
    }

    pane(container, strips) {
      const figure = make("figure", "pane", container);
      const caption = make("figcaption", "", figure);
      const all = make("div", "strips", figure);
      return { figure, caption, all, strips: Array.from({ length: strips }, () => this.strip(all)) };
    }

    strip(parent) {
      const row = make("div", "planes", parent);
      const length = (axis) => this.sizes[axis] * this.spacing[axis];
      const width = this.planes.reduce((sum, plane) => sum + length(plane.across), 0);
      row.style.setProperty("--ratio", width / Math.max(...this.planes.map((plane) => length(plane.down))));
      return { row, views: this.planes.map((plane) => this.view(plane, row)) };
    }

    view(plane, row) {
      const box = make("div", "plane", row);
      const canvas = make("canvas", "", box);
      const [width, height] = [plane.across, plane.down].map((axis) => this.sizes[axis] * this.spacing[axis]);
      box.style.aspectRatio = `${width} / ${height}`;
      box.style.setProperty("--width", width);
      box.style.setProperty("--ratio", width / height);
      box.setAttribute("role", "img");
      if (plane.through === null) return { plane, box, canvas, lines: [] };
      plane.letters.forEach((letter, side) => (make("span", `letter ${SIDES[side]}`, box).textContent = letter));
      const lines = ["upright", "level"].map((name) => make("span", `line ${name}`, box));
      const slice = make("span", "slice", box);
      box.tabIndex = 0;
      box.addEventListener("focus", () => this.choose(plane));
      box.addEventListener("pointerdown", (event) => {
        box.setPointerCapture(event.pointerId);
        this.choose(plane);
        this.point(plane, box, event);
      });
      box.addEventListener("pointermove", (event) => event.buttons && this.point(plane, box, event));
      box.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          this.choose(plane);
          this.step(plane.through, Math.sign(event.deltaY));
        },
        { passive: false },
      );
      return { plane, box, canvas, lines, slice };
    }

    choose(plane) {
      this.active = plane;
      for (const { views } of this.panes.flatMap(({ strips }) => strips)) {
        for (const view of views) view.box.classList.toggle("active", view.plane === plane);
      }
    }

    /** Put the crosshair where the pointer is. */
    point(plane, box, event) {
      const area = box.getBoundingClientRect();
      const shares = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
      [plane.across, plane.down].forEach((axis, i) => {
        const at = within(Math.floor(shares[i] * this.sizes[axis]), this.sizes[axis]);
        this.cross[axis] = plane.isFlipped ? this.sizes[axis] - 1 - at : at;
      });
      this.draw();
    }

    step(axis, by) {
      this.cross[axis] = within(this.cross[axis] + by, this.sizes[axis]);
      this.draw();
    }

    /** Move the crosshair in the plane chosen last: `right` and `down` as seen, `through` to the next slice. */
    move(right, down, through) {
      const { across, down: axis, through: normal, isFlipped } = this.active;
      const sign = isFlipped ? -1 : 1;
      this.cross[across] = within(this.cross[across] + sign * right, this.sizes[across]);
      this.cross[axis] = within(this.cross[axis] + sign * down, this.sizes[axis]);
      this.step(normal, through);
    }

    /**
     * Show in each pane {label, image, minus}: an image, or its difference from another; null leaves a pane out.
     * `groups` are the channels of each strip: one, or red, green and blue.
     */
    show(shown, groups) {
      [this.shown, this.groups] = [shown, groups];
      this.panes[0].figure.parentElement.dataset.strips = groups.length;
      this.panes.forEach(({ figure, caption, all, strips }, i) => {
        figure.hidden = !shown[i];
        if (shown[i]) caption.textContent = shown[i].label;
        all.style.setProperty("--strips", groups.length);
        strips.forEach(({ row }, strip) => (row.hidden = strip >= groups.length));
      });
      this.draw();
    }

    draw() {
      this.planes.forEach((plane, p) => {
        const where = Pixels.places(plane, this.sizes, this.cross);
        this.panes.forEach(({ strips }, i) => {
          if (!this.shown[i]) return;
          this.groups.forEach((group, strip) => this.drawView(strips[strip].views[p], where, this.shown[i], group));
        });
      });
    }

    drawView({ plane, box, canvas, lines, slice }, where, { label: name, image, minus }, group) {
      const width = this.sizes[plane.across];
      const channels = group.map((channel) => channel * this.voxels);
      const isLabel = group[0] === this.label;
      canvas.style.imageRendering = isLabel ? "pixelated" : ""; // no colours between classes
      const label = this.groups.length > 1 ? `${name}, ${isLabel ? "label map" : `channel ${group[0] + 1}`}` : name;
      if (minus) Pixels.paintDifference(canvas, where, width, image, minus, channels, isLabel ? 255 : undefined);
      else if (isLabel) Pixels.paintLabels(canvas, where, width, image, channels[0], this.colours);
      else Pixels.paintImage(canvas, where, width, image, channels);
      if (plane.through === null) {
        box.setAttribute("aria-label", label);
        return;
      }
      const at = (axis) => {
        const share = (this.cross[axis] + 0.5) / this.sizes[axis];
        return `${100 * (plane.isFlipped ? 1 - share : share)}%`;
      };
      [lines[0].style.left, lines[1].style.top] = [at(plane.across), at(plane.down)];
      slice.textContent = `${plane.name} ${this.cross[plane.through] + 1}/${this.sizes[plane.through]}`;
      box.setAttribute("aria-label", `${label}: ${slice.textContent}`);
    }
  }

  return { Panes, make };
})();
