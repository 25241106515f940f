// With `nlft view --serve`: score a new response with the loaded model. The server only computes.

/** Wire the form; `onScored(row)` gets the new row. */
export function wireLive(form, live, onScored) {
  const status = form.querySelector("[role=status]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = Object.fromEntries(new FormData(form));
    status.textContent = "scoring…";
    form.querySelector("button").disabled = true;
    try {
      const answer = await fetch("/score", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-NLFT-Token": live.token },
        body: JSON.stringify({ ...data, correct: data.correct === "yes" }),
      });
      const row = await answer.json();
      if (!answer.ok) throw new Error(row.error);
      status.textContent = "scored; it is at the end of the list";
      onScored(row);
    } catch (error) {
      status.textContent = error.message;
    } finally {
      form.querySelector("button").disabled = false;
    }
  });
}
