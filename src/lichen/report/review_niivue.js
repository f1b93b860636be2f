// The training volume in grey and the aligned synthetic one over it in colour, in NiiVue, which report/niivue.py brings.
//
// NiiVue comes as a widget: it asks a model of named values, and is told when one changed.
"use strict";
const Niivue = (() => {
  const OPTIONS = {
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    multiplanarShowRender: 1, // always
    multiplanarLayout: 2, // two by two
    crosshairWidth: 0.4,
    crosshairColor: [0.47, 0.86, 0.59, 0.8],
    dragAndDropEnabled: false,
    logLevel: "error",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    viewModeHotKey: "",
  };

  /** A NIfTI-1 file of a volume (X, Y, Z) of bytes whose last axis runs fastest; the origin is in its centre. */
  function nifti(image, sizes, spacing) {
    const file = new Uint8Array(352 + image.length);
    const header = new DataView(file.buffer);
    header.setInt32(0, 348, true);
    [3, ...[...sizes].reverse(), 1, 1, 1, 1].forEach((count, i) => header.setInt16(40 + 2 * i, count, true));
    header.setInt16(70, 2, true); // unsigned bytes
    header.setInt16(72, 8, true);
    [1, ...[...spacing].reverse()].forEach((length, i) => header.setFloat32(76 + 4 * i, length, true));
    header.setFloat32(108, 352, true);
    header.setFloat32(112, 1, true);
    header.setInt16(254, 1, true); // the affine: the file's first axis is our last
    sizes.forEach((count, axis) => {
      header.setFloat32(280 + 16 * axis + 4 * (2 - axis), spacing[axis], true);
      header.setFloat32(280 + 16 * axis + 12, (-spacing[axis] * (count - 1)) / 2, true);
    });
    file.set([0x6e, 0x2b, 0x31, 0], 344);
    file.set(image, 352);
    return file;
  }

  function modelOf(values, manager) {
    const [kept, heard] = [new Map(Object.entries(values)), new Map()];
    return {
      get: (name) => kept.get(name),
      set: (name, value) => kept.set(name, value),
      on: (name, told) => heard.set(name, told),
      off: (name) => heard.delete(name),
      save_changes() {},
      send() {},
      send_sync_message() {},
      widget_manager: manager,
      change(name, value) {
        kept.set(name, value);
        const told = heard.get(`change:${name}`);
        return told && told();
      },
    };
  }

  const DARK = 64; // of 255: the background of the volume on top hides nothing

  class Viewer {
    constructor(element, sizes, spacing) {
      Object.assign(this, { element, sizes, spacing, models: new Map(), count: 0 });
      this.manager = { get_model: async (id) => this.models.get(id) };
      // its own keys would be pressed along with those of the page
      element.addEventListener("focusin", (event) => event.target.blur());
    }

    volume(name, image, look) {
      this.count += 1;
      const id = `${name}-${this.count}`;
      const data = nifti(image, this.sizes, this.spacing);
      const empty = { path: {}, url: "", paired_img_path: {}, paired_img_url: "", colormap_negative: "" };
      const shown = { id, name: `${name}.nii`, data, cal_max: 255, ...look };
      const plain = { frame_4d: 0, colorbar_visible: false, colormap_type: 0, colormap_label: null };
      this.models.set(id, modelOf({ ...empty, ...shown, ...plain }, this.manager));
      return id;
    }

    /** Two images (X, Y, Z) of bytes; `share` of the aligned one is seen. */
    async show(training, aligned, share) {
      this.models.clear();
      const ids = [
        this.volume("training", training, { colormap: "gray", opacity: 1, cal_min: 1 }),
        this.volume("synthetic", aligned, { colormap: "warm", opacity: share, cal_min: DARK }),
      ];
      this.over = this.models.get(ids[1]);
      const volumes = ids.map((id) => `IPY_MODEL_${id}`);
      if (this.model) return this.model.change("volumes", volumes);
      const drawing = { draw_lut: null, draw_opacity: 0, draw_fill_overwrites: true, graph: null, scene: null };
      const overlay = { overlay_outline_width: 0, overlay_alpha_shader: 1, background_masks_overlays: false };
      const own = { opts: OPTIONS, volumes, meshes: [], height: 560, this_model_id: "" };
      this.model = modelOf({ ...drawing, ...overlay, ...own }, this.manager);
      await globalThis.lichenNiivue.initialize({ model: this.model });
      return globalThis.lichenNiivue.render({ model: this.model, el: this.element });
    }

    fade(share) {
      if (this.over) this.over.change("opacity", share);
    }
  }

  return { Viewer };
})();
