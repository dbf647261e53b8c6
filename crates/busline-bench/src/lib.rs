//! The Busline benchmark: workloads, measures, twins and reports.
