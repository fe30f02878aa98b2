// Moving and zooming a drawing: which part of it is seen, by wheel, pointer and keys.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "../lib/ui.js";

const MARGIN = 28; // pixels around the drawing when it is fitted
const LARGEST = [1.15, 1.8]; // scale of a drawing that is fitted, in a frame below and from so many pixels on
const WIDE = 2_000;
const SMALLEST = 0.62; // and no smaller than can be read: then part of it is seen, around `focus`
/** @type {[number, number]} */
const RANGE = [0.15, 3];

/** @type {(value: number, range: [number, number]) => number} */
const clamp = (value, [least, most]) => Math.min(most, Math.max(least, value));

/** Where the drawing's origin is along one side: in the middle when all of it fits, else so that `focus` is seen. */
function origin(room, length, scale, focus) {
  const whole = length * scale;
  if (whole <= room - 2 * MARGIN) return (room - whole) / 2;
  if (focus === undefined) return MARGIN;
  return clamp(room / 2 - focus * scale, [room - whole - MARGIN, MARGIN]);
}

/**
 * `{x, y, scale}` of the drawing's origin in the frame. `size`: of the drawing; `focus`: a point of it to be seen. When `key` changes it is fitted anew.
 */
export function useView(frame, size, focus, key) {
  const [view, set] = useState({ x: 0, y: 0, scale: 1 });
  const moved = useRef(false);
  const current = useRef(view);
  current.current = view;

  const fit = useCallback(() => {
    const box = frame.current?.getBoundingClientRect();
    if (!box?.width) return;
    const scale = clamp(Math.min((box.width - 2 * MARGIN) / size.width, (box.height - 2 * MARGIN) / size.height), [SMALLEST, LARGEST[Number(box.width >= WIDE)]]);
    moved.current = false;
    set({ scale, x: origin(box.width, size.width, scale, focus?.[0]), y: origin(box.height, size.height, scale, focus?.[1]) });
  }, [size.width, size.height, focus?.[0], focus?.[1]]);

  const zoom = useCallback((factor, at) => {
    const box = frame.current.getBoundingClientRect();
    const point = at ?? { x: box.width / 2, y: box.height / 2 };
    moved.current = true;
    set((old) => {
      const scale = clamp(old.scale * factor, RANGE);
      const ratio = scale / old.scale;
      return { scale, x: point.x - (point.x - old.x) * ratio, y: point.y - (point.y - old.y) * ratio };
    });
  }, []);

  const move = useCallback((x, y) => {
    moved.current = true;
    set((old) => ({ ...old, x: old.x + x, y: old.y + y }));
  }, []);

  useLayoutEffect(fit, [key, size.width, size.height]); // before anybody sees it, and presses where it is no more
  useEffect(() => {
    if (!moved.current) fit();
    const element = frame.current;
    const watch = new ResizeObserver(() => moved.current || fit());
    watch.observe(element);
    const wheel = (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      if (event.ctrlKey || !event.shiftKey) zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), { x: event.clientX - box.x, y: event.clientY - box.y });
      else move(-event.deltaY, 0);
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      watch.disconnect();
      element.removeEventListener("wheel", wheel);
    };
  }, [fit]);

  return { view, current, fit, zoom, move };
}
