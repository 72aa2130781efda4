// Stands in for the editor's module where the tested logic lies beside what needs it.
export default {};
