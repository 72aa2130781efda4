// Stands in for the editor's module where the tested logic lies beside what needs it. The bundle of a language that
// is not English is a global.
export const env = { language: "en" };
export const l10n = {
  t: (text, ...values) => (globalThis.bundle?.[text] ?? text).replace(/\{(\d)\}/g, (_, at) => values[at]),
};
export default {};
