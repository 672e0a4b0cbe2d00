// Shows the values of the mean curves under the pointer, read back from the drawing itself.
(() => {
  const readout = document.getElementById("readout");
  const scale = (text) => {
    const [low, high, start, end, log] = text.split(",").map(Number);
    const share = (place) => (place - start) / (end - start);
    return (place) => log ? low * (high / low) ** share(place) : low + (high - low) * share(place);
  };
  const short = (value) => Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3)
    ? value.toExponential(2) : String(+value.toPrecision(4));
  for (const svg of document.querySelectorAll("svg.chart")) {
    const x = scale(svg.dataset.x), y = scale(svg.dataset.y);
    const means = [...svg.querySelectorAll(".mean")].map((line) => ({
      label: line.dataset.label, colour: line.classList[1],
      points: line.getAttribute("points").split(" ").map((point) => point.split(",").map(Number)),
    }));
    if (!means.length) continue;
    const cursor = document.createElementNS(svg.namespaceURI, "path");
    cursor.setAttribute("class", "cursor");
    const hide = () => { readout.hidden = true; cursor.remove(); };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
      const near = means.map((mean) => mean.points.reduce((a, b) => Math.abs(a[0] - at) <= Math.abs(b[0] - at) ? a : b));
      const closest = near.reduce((a, b) => Math.abs(a[0] - at) <= Math.abs(b[0] - at) ? a : b)[0];
      const [, , start, end] = svg.dataset.y.split(",");
      cursor.setAttribute("d", `M${closest} ${start}V${end}`);
      svg.append(cursor);
      readout.replaceChildren(`${Math.round(x(closest)).toLocaleString("en")} env steps`);
      means.forEach((mean, index) => {
        if (Math.abs(near[index][0] - closest) > 4) return;
        const row = document.createElement("div"), swatch = document.createElement("i"), value = document.createElement("b");
        swatch.className = `line ${mean.colour}`;
        value.textContent = short(y(near[index][1]));
        row.append(swatch, mean.label, value);
        readout.append(row);
      });
      readout.hidden = false;
      const left = Math.min(event.pageX + 16, document.documentElement.clientWidth - readout.offsetWidth - 8);
      readout.style.left = `${left}px`;
      readout.style.top = `${event.pageY + 16}px`;
    });
  }
})();
