// The parts of Grafana's own types that the boards use: the dashboard, and for each kind of panel its options and
// the options of its fields. In Grafana's types these two are `Record<string, unknown>`, because plugins bring them.
import type { AnnotationContainer, AnnotationQuery, Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel }
  from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { TableFieldOptions } from '@grafana/schema/dist/types/common/common.gen';
import type { Options as Stat } from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type { Options as Table } from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type { Options as Text } from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type { Options as Series, FieldConfig as SeriesField }
  from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type { Options as States, FieldConfig as StatesField }
  from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';

// Options have defaults, so none must be there.
type Shown<Type extends string, Options, Custom> = Omit<Panel, 'type' | 'options' | 'fieldConfig'> & {
  type: Type;
  options: Partial<Options>;
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
    defaults: Omit<FieldConfig, 'custom'> & { custom?: Partial<Custom> };
  };
};
type Nothing = {};

export type RowOfBoard = Omit<RowPanel, 'panels'> & { panels: [] };
export type StatOfBoard = Shown<'stat', Stat, Nothing>;
export type TableOfBoard = Shown<'table', Table, TableFieldOptions>;
export type SeriesOfBoard = Shown<'timeseries', Series, SeriesField>;
export type StatesOfBoard = Shown<'state-timeline', States, StatesField>;
export type TextOfBoard = Omit<Panel, 'type' | 'options'> & { type: 'text'; options: Text };

// As in Grafana's src/veneer/dashboard.types.ts the target is the query of the data source, with the keys that the
// data source for Prometheus reads beside it.
type Annotation = Omit<AnnotationQuery, 'target'> & {
  target?: Record<string, unknown>;
  titleFormat?: string;
  textFormat?: string;
};
export type Board = Omit<Dashboard, 'panels' | 'annotations'> & {
  panels: (RowOfBoard | StatOfBoard | TableOfBoard | SeriesOfBoard | StatesOfBoard | TextOfBoard)[];
  annotations?: Omit<AnnotationContainer, 'list'> & { list?: Annotation[] };
};
